"""Any store that speaks S3, by aiobotocore. `errors` translates what it answers."""
