//! The built program, run in scratch directories with a tiny model; asserts on exit codes, output and files.

mod commands;
mod devices;
mod disk;
mod engine;
mod hub;
mod kill;
mod long;
mod memory;
mod outputs;
mod refusals;
mod scratch;
mod server;
mod sweep;
#[cfg(target_os = "linux")]
mod traced;
mod verify;
