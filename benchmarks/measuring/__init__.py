"""What is measured on any machine: cases, peers, timing, suites, records and their comparison, and the floor beside them."""
