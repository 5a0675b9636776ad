"""The commands: module ``x`` holds the click command ``command`` that ``rengafs x`` runs."""
