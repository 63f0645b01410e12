"""The grid: many algorithms on many tasks over several draws of labels, each training one cell with one file.

    grid file --grid_file, schedules--> cells --planning--> those that are missing --engines, running--> their files

grid_file.py         a YAML file, or one of ready/ by its name -> Grid (what its names mean: grid_names.py)
schedules.py         which settings a cell has: the published recipes (recipes.py), short ones, custom ones
tasks.py, small/     the tasks: those of the benchmark, and three small ones that need no download
cells.py             Cell: its key, its path, --select
planning.py          what is done, what is missing, about how many hours it takes
running.py           run_cell: the one function that every engine calls, in any process; the data are data.py's
cell_file.py         the JSON of a cell
engines/             base.py says what an engine is; local.py runs worker processes here
"""

from typing import TYPE_CHECKING

from ...lazy import lazy_exports

if TYPE_CHECKING:
    from .cell_file import read_results
    from .cells import Cell, select
    from .engines import ENGINES, make_engine
    from .engines.base import Engine, Outcome, Work
    from .grid_file import Grid, load_grid, ready_grids
    from .planning import Plan, plan
    from .running import run_cell

__all__ = [
    "ENGINES",
    "Cell",
    "Engine",
    "Grid",
    "Outcome",
    "Plan",
    "Work",
    "load_grid",
    "make_engine",
    "plan",
    "read_results",
    "ready_grids",
    "run_cell",
    "select",
]

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "ENGINES": "engines",
        "Cell": "cells",
        "Engine": "engines.base",
        "Grid": "grid_file",
        "Outcome": "engines.base",
        "Plan": "planning",
        "Work": "engines.base",
        "load_grid": "grid_file",
        "make_engine": "engines",
        "plan": "planning",
        "read_results": "cell_file",
        "ready_grids": "grid_file",
        "run_cell": "running",
        "select": "cells",
    },
)
