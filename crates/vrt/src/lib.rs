//! Restores video with the Video Restoration Transformer, from file to file.
//!
//! ```no_run
//! use std::path::Path;
//!
//! use vrt::device::DeviceChoice;
//! use vrt::restore::{RestoreOptions, Silent, restore_file};
//! use vrt::weights::{Architecture, load_weights};
//! use vrt_model::Restorer;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let weights = Path::new("006_VRT_videodeblurring_GoPro.pth");
//! let (config, checkpoint) = load_weights(weights, &Architecture::Recognised, None)?;
//! let restorer = Restorer::new(&config, &checkpoint, &DeviceChoice::default().open()?)?;
//! let options = RestoreOptions { frames: Some(48), ..RestoreOptions::default() };
//! let (input, output) = (Path::new("blurred.mp4"), Path::new("sharp.mp4"));
//! let summary = restore_file(input, output, &restorer, &config, &options, &mut Silent)?;
//! println!("{} frames", summary.frames());
//! # Ok(())
//! # }
//! ```
//!
//! The networks are in [`vrt_model`], frames and metrics in [`vrt_video`]; the command `vrt` is
//! made of what is here.

#![forbid(unsafe_code)]

pub mod between;
pub mod compare;
pub mod convert;
pub mod device;
pub mod doctor;
pub mod eval;
pub mod info;
pub mod memory;
pub mod models;
pub mod restore;
pub mod spike;
pub mod weights;

pub use vrt_model;
pub use vrt_spike;
pub use vrt_train;
pub use vrt_video;
