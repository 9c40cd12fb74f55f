//! One integration binary for all tests that see the program from outside.

mod export;
mod fetch;
mod hostile;
mod house;
mod ledger;
mod supply;
mod wire;
