"""Every method on the same images with the same evaluation: runs, results, tables."""
