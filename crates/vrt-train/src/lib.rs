//! How weights of the Video Restoration Transformer are made: from an option file to a checkpoint.

#![forbid(unsafe_code)]

pub mod recipe;

pub use recipe::Recipe;
