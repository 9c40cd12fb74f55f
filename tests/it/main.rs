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
mod house;
mod ledger;
mod market;
mod members;
mod money;
mod network;
mod permissions;
mod program;
mod rate;
mod readers;
mod recipes;
mod refresh;
mod shell;
mod signals;
mod verify;
mod wire;
mod words;
