//! One integration binary for all tests that see the program from outside.

mod cli;
mod config;
mod crash;
mod damage;
mod disk;
mod doctor;
mod export;
mod fetch;
mod hostile;
mod inputs;
mod ledger;
mod market;
mod members;
mod module_layering;
mod money;
mod network;
#[path = "../oracle/mod.rs"]
mod oracle;
mod permissions;
mod program;
mod rate;
mod readers;
mod recipes;
mod refresh;
mod shell;
mod signals;
mod upload;
mod verify;
mod wire;
mod words;
