//! Problems in, trained policy and run directory out.

mod error;

pub use error::RlError;
