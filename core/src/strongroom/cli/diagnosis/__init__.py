"""The checks of ``strongroom doctor``, one module for each thing that can be wrong."""
