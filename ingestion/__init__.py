"""The way in: silo register, contracts, landing, checking, conforming, committing."""
