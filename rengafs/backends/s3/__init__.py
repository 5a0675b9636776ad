"""Any store that speaks S3."""
