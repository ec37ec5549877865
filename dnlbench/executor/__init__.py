"""Executors: where runs are carried out, behind one interface; and the scheduler that feeds them."""
