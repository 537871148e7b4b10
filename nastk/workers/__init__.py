"""Workers: what evaluates for a study, in processes of this machine, on a Dask cluster, or in an executor of yours."""
