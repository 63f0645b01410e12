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
