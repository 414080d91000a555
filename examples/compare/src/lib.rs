//! The three drivers side by side: one way to call the samples' own code, whichever driver it is for.

#![warn(missing_docs)]

pub mod driver;
