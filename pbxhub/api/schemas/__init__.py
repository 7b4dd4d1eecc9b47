"""The fields that programs send and get. The OpenAPI document is generated from these."""
