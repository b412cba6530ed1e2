"""Any node answers any request: where one belongs, how it gets there, and how answers of several parts become one."""
