//! `vrt spike info`: what a stream is like.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use vrt_spike::BitOrder;

use super::StreamOptions;
use crate::cli::table::Table;
use crate::cli::{Failure, GlobalOptions, output};

/// Flags of `vrt spike info`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Arguments {
    /// The stream: .dat, .npy or .npz
    stream: PathBuf,
    #[command(flatten)]
    options: StreamOptions,
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments, global: &GlobalOptions) -> Result<(), Failure> {
    let mut stream = arguments.options.open(&arguments.stream)?;
    let (g, found) = (stream.geometry(), stream.statistics()?);
    let order = if g.order() == BitOrder::LeastFirst { "lsb" } else { "msb" };
    if global.json {
        return Ok(output::json(&json!({
            "stream": arguments.stream,
            "width": g.width(),
            "height": g.height(),
            "stored_width": g.stored_width(),
            "bit_order": order,
            "upright": g.upright(),
            "frames": found.frames,
            "rate": found.rate,
            "lowest_rate": found.range[0],
            "highest_rate": found.range[1],
            "silent": found.silent,
            "saturated": found.saturated,
        }))?);
    }
    let percent = |share: f64| format!("{:.2} %", 100.0 * share);
    let rows = if g.upright() { "from the top down" } else { "from the bottom up" };
    let mut table = Table::default();
    table.fact("frames", format!("{} of {g}", found.frames));
    table.fact("stored", format!("{order} first, rows {rows}, {} bytes a frame", g.frame_bytes()));
    table.fact("firing rate", format!("{} of frames, on average", percent(found.rate)));
    let [lowest, highest] = found.range.map(percent);
    table.fact("pixels", format!("from {lowest} to {highest}"));
    table.fact("never fire", percent(found.silent));
    table.fact("always fire", percent(found.saturated));
    Ok(output::result(table.to_string().trim_end())?)
}
