//! Placeholder until the kernel is here.
#![allow(missing_docs)]
#[derive(Clone, Debug)]
pub struct DeformGeometry {
    pub batch: usize,
    pub height: usize,
    pub width: usize,
    pub in_channels: usize,
    pub out_channels: usize,
    pub weight_groups: usize,
    pub offset_groups: usize,
    pub kernel: [usize; 2],
    pub padding: [usize; 2],
}
