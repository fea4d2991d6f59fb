"""An expense claim: receipts, a decision that takes days, and the payment."""
