//! Problems in, trained policy and run directory out.

pub mod advantage;
mod error;
pub mod loss;
pub mod random;
pub mod shaping;

pub use error::RlError;
