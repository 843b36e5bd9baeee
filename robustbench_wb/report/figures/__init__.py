"""Figures of tables: charts as data, drawn by matplotlib for papers, notebooks and the HTML page."""
