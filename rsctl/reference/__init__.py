"""The reference: every declaration and key explained, the JSON Schema of sweep files, the topics of `rsctl help`."""
