//! One integration binary for all tests that see the program from outside.

mod cli;
mod export;
mod fetch;
mod house;
mod ledger;
mod shell;
mod verify;
mod wire;
mod words;
