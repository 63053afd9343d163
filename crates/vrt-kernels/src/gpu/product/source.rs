//! Where the left side of a product is read.

use cubecl::prelude::*;

use crate::conv::ConvGeometry;
use crate::deform_conv::DeformGeometry;
use crate::gpu::bilinear::{around, pixel};

/// What a row of the left side is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::gpu) enum Source {
    /// The row of a matrix.
    Rows,
    /// What the taps of a convolution see at an output pixel: taps, in each the channels.
    Taps,
    /// The same where each tap has a place and a factor of its own.
    Samples,
}

/// The map that is read, and how.
#[derive(Clone, Copy, Debug)]
pub(in crate::gpu) struct Field {
    size: [usize; 2],
    out_size: [usize; 2],
    /// Of all groups, or of a row.
    channels: usize,
    /// Channels that a group of the product sees.
    group_channels: usize,
    kernel: [usize; 2],
    padding: [usize; 2],
    /// Channels that are sampled together.
    sampled: usize,
}

impl Field {
    pub(super) fn of_rows(columns: usize) -> Self {
        Self {
            size: [1; 2],
            out_size: [1; 2],
            channels: columns,
            group_channels: columns,
            kernel: [1; 2],
            padding: [0; 2],
            sampled: columns,
        }
    }

    /// The same with so many columns for each group of the product.
    pub(super) fn grouped(self, group_channels: usize) -> Self {
        Self { group_channels, ..self }
    }

    pub(in crate::gpu) fn of_conv(g: &ConvGeometry) -> Self {
        Self {
            size: [g.height, g.width],
            out_size: [g.out_height(), g.out_width()],
            channels: g.in_channels,
            group_channels: g.in_channels,
            kernel: g.kernel,
            padding: g.padding,
            sampled: g.in_channels,
        }
    }

    pub(in crate::gpu) fn of_deform(g: &DeformGeometry) -> Self {
        Self {
            size: [g.height, g.width],
            out_size: [g.out_height(), g.out_width()],
            channels: g.in_channels,
            group_channels: g.in_channels / g.weight_groups,
            kernel: g.kernel,
            padding: g.padding,
            sampled: g.in_channels / g.offset_groups,
        }
    }

    pub(in crate::gpu) fn launch(&self) -> FieldArgsLaunch {
        let ([height, width], [out_height, out_width]) = (self.size, self.out_size);
        let ([kernel_height, kernel_width], [pad_y, pad_x]) = (self.kernel, self.padding);
        FieldArgsLaunch::new(
            height,
            width,
            out_height,
            out_width,
            self.channels,
            self.group_channels,
            kernel_height * kernel_width,
            kernel_width,
            pad_y,
            pad_x,
            self.sampled,
        )
    }
}

/// A [`Field`], as kernels see it.
#[derive(CubeType, CubeLaunch, Clone, Copy)]
pub(in crate::gpu) struct FieldArgs {
    pub(in crate::gpu) height: usize,
    pub(in crate::gpu) width: usize,
    out_height: usize,
    out_width: usize,
    pub(in crate::gpu) channels: usize,
    pub(in crate::gpu) group_channels: usize,
    pub(in crate::gpu) taps: usize,
    kernel_width: usize,
    pad_y: usize,
    pad_x: usize,
    pub(in crate::gpu) sampled: usize,
}

/// Where a tap of an output pixel looks before anything moves it.
#[derive(CubeType, Clone, Copy)]
pub(in crate::gpu) struct Look {
    /// First pixel of the frame.
    pub(in crate::gpu) frame: usize,
    pub(in crate::gpu) column: i32,
    pub(in crate::gpu) row: i32,
}

#[cube]
pub(in crate::gpu) fn look(at: usize, tap: usize, field: &FieldArgs) -> Look {
    let first = first_look(at, field);
    Look {
        frame: first.frame,
        column: first.column + i32::cast_from(tap % field.kernel_width),
        row: first.row + i32::cast_from(tap / field.kernel_width),
    }
}

/// Where the first tap of an output pixel looks.
#[cube]
fn first_look(at: usize, field: &FieldArgs) -> Look {
    Look {
        frame: at / (field.out_height * field.out_width) * (field.height * field.width),
        column: i32::cast_from(at % field.out_width) - i32::cast_from(field.pad_x),
        row: i32::cast_from(at / field.out_width % field.out_height) - i32::cast_from(field.pad_y),
    }
}

/// A row of the left side, as far as it does not depend on the column.
#[derive(CubeType, Clone, Copy)]
pub(super) struct Row {
    pub(super) at: usize,
    pub(super) look: Look,
}

#[cube]
pub(super) fn row(at: usize, field: &FieldArgs, #[comptime] source: Source) -> Row {
    if comptime!(source == Source::Rows) {
        Row { at, look: Look { frame: at, column: 0, row: 0 } }
    } else {
        Row { at, look: first_look(at, field) }
    }
}

/// A column of the left side, as far as it does not depend on the row.
#[derive(CubeType, Clone, Copy)]
pub(super) struct Column {
    channel: usize,
    tap: usize,
    /// What the tap adds to the first one's look.
    right: i32,
    down: i32,
}

/// Column `at` of a group of the product.
#[cube]
pub(super) fn column(
    at: usize,
    group: usize,
    field: &FieldArgs,
    #[comptime] source: Source,
) -> Column {
    let first = group * field.group_channels;
    if comptime!(source == Source::Rows) {
        Column { channel: first + at, tap: 0, right: 0, down: 0 }
    } else {
        let tap = at / field.group_channels;
        Column {
            channel: first + at % field.group_channels,
            tap,
            right: i32::cast_from(tap % field.kernel_width),
            down: i32::cast_from(tap / field.kernel_width),
        }
    }
}

/// A value of the left side.
#[cube]
pub(super) fn value(
    x: &[f32],
    offset: &[f32],
    mask: &[f32],
    row: &Row,
    column: &Column,
    field: &FieldArgs,
    #[comptime] source: Source,
) -> f32 {
    if comptime!(source == Source::Rows) {
        x[row.at * field.channels + column.channel]
    } else {
        let look = Look {
            frame: row.look.frame,
            column: row.look.column + column.right,
            row: row.look.row + column.down,
        };
        if comptime!(source == Source::Taps) {
            let pixel = pixel(look.column, look.row, field.height, field.width);
            pixel.inside * x[(look.frame + pixel.at) * field.channels + column.channel]
        } else {
            let groups = field.channels / field.sampled;
            let place =
                (row.at * groups + column.channel / field.sampled) * field.taps + column.tap;
            let to_y = f32::cast_from(look.row) + offset[2 * place];
            let to_x = f32::cast_from(look.column) + offset[2 * place + 1];
            let corners = around(to_x, to_y, field.height, field.width);
            let mut sum = 0.0f32;
            #[unroll]
            for index in 0..4u32 {
                let pixel = corners.pixel(index, field.height, field.width);
                let there = x[(look.frame + pixel.at) * field.channels + column.channel];
                sum += corners.weight(index) * pixel.inside * there;
            }
            sum * mask[place]
        }
    }
}
