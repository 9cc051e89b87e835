"""What users write: the three kinds, their conditions, and every name that the outside can see."""
