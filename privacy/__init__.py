"""Why nobody is found in what is published: the plan of budgets, noise, the ledger and its signed copies, key duty."""
