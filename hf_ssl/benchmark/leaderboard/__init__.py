"""The leaderboard: from a folder of finished cells to tables, tests, pictures and one page that people open first.

    cell files --runs--> runs --ranking, pairs, costs--> numbers --tables, latex, pictures, page--> RESULTS/report/

runs.py              every run in one row; which ones are compared with each other (a setting)
statistics.py        tests over several data sets, from scipy
scopes.py            what is ranked together: everything, and each modality
ranking.py           ranks over the settings that every algorithm has
pairs.py             two algorithms over what both have: differences, wins, tests
costs.py             accuracy against time
tables.py            tables, published numbers beside measured ones (as files: csv_tables.py, latex.py)
pictures.py          PNG: critical differences, wins, accuracy against time
page.py              one HTML page (page.html, page.css, page.js; runs: page_data.py; pictures: drawings.py)
report.py            all of it; what cannot be said: notes.py
compare.py           two folders, or two algorithms of one folder
"""
