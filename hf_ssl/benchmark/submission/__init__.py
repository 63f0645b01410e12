"""What leaves the machine of a grid: cells as a pull request, and the report as a page on the Hub.

checks.py         whether a cell's file may be published
submit.py         a pull request with new cells to a results repository
space.py          the leaderboard: the report's page as a static Space
"""
