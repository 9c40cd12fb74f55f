//! One integration binary for all tests that see the program from outside.

mod fetch;
mod house;
mod ledger;
mod wire;
