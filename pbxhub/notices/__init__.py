"""Who is told what, and when: by mail and by HTTP."""
