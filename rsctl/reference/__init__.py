"""What users look up: every declaration and every key explained, the JSON Schema of sweep files, the topics of `rsctl help`."""
