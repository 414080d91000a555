//! The three drivers side by side.
