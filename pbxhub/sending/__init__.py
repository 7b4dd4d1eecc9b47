"""One HTTP request on its way: checked, sent, its answer or its failure told. No database."""
