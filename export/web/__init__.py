"""A page that runs exported files in a browser: a folder of plain files, to be opened or served; no network."""
