"""What comes of grades: the report, similar pairs, exports, feedback."""
