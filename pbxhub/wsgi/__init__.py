"""What the pages and the API have in common as Flask applications: what is checked of every request, and the hub that
answers it."""
