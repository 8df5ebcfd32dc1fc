"""The environment variables that kdbench reads, all of them."""

from __future__ import annotations

VARIABLES = {
    "KDBENCH_HOME": "folder of the runs; ./runs by default (--out goes first)",
    "KDBENCH_DATA": "folder with the data sets; searched after --data-dir and before ./data and the cache folder",
    "KDBENCH_CACHE": "folder for prepared and downloaded data; by default the user's cache folder of the system",
    "KDBENCH_STORAGE": "database of searches, an SQLAlchemy URL (as --storage); SQLite in the runs folder by default",
    "KDBENCH_PLUGINS": "installed plugins to use: PACKAGE,PACKAGE; off uses none",
    "KDBENCH_TRACKING": "off switches MLflow off",
    "RAY_ADDRESS": "cluster of the launcher ray, HOST:PORT; by default a cluster of this machine alone",
    "MLFLOW_TRACKING_URI": "MLflow's server or database; by default mlflow.db in the folder of the runs",
}
"""Each variable's meaning in one line."""
