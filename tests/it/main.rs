//! One integration binary for all tests that see the program from outside.

mod crash;
mod damage;
mod disk;
mod fetch;
mod ledger;
mod market;
mod money;
mod program;
mod rate;
mod readers;
mod signals;
