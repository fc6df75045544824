"""The tables of the papers, each as printed and as computed by this package."""
