//! `vrt convert`: weights between `.pth` and `.safetensors`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde_json::json;
use vrt::convert::{Converted, Form, Network, convert};
use vrt_model::checkpoint::{Existing, Floats, Stored};
use vrt_model::option_file;

use super::models::find;
use super::network::NetworkOptions;
use super::table::grouped;
use super::{Failure, GlobalOptions, output};

const HELP: &str = "\
The form of A is told from its content, that of B \
from its extension.

The network is recognised from names and shapes, or stated with --options or --preset, and every \
tensor is accounted for: what is missing, unknown or of another shape is listed and nothing is \
written. Names stay the published ones; a .pth can be loaded strictly by the published program.

Examples:
  vrt convert 006_VRT_videodeblurring_GoPro.pth deblur.safetensors
  vrt convert deblur.safetensors deblur.pth
  vrt convert 006 deblur.safetensors --dtype f16
  vrt convert spynet.pth spynet.safetensors --as-is";

/// Flags of `vrt convert`.
#[derive(Args, Clone, Debug)]
#[command(after_help = HELP)]
pub(crate) struct Arguments {
    /// Weights to read: a file, or the name of a network (`vrt models`)
    #[arg(value_name = "A")]
    from: PathBuf,
    /// Weights to write: .safetensors or .pth
    #[arg(value_name = "B")]
    to: PathBuf,
    #[command(flatten)]
    network: NetworkOptions,
    /// Copy the tensors under their names, whatever network they are of
    #[arg(long, conflicts_with_all = ["options", "preset", "flow"])]
    as_is: bool,
    /// How values are stored; f16 in .safetensors only
    #[arg(long, value_enum, value_name = "TYPE", default_value_t)]
    dtype: Dtype,
    /// Leave SpyNet out, for networks that share one (--flow puts it back); in .safetensors only
    #[arg(long)]
    without_flow: bool,
    /// Replace B if it exists
    #[arg(long)]
    overwrite: bool,
}

/// Names of [`Floats`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Dtype {
    /// 32-bit floats: exactly
    #[default]
    F32,
    /// 16-bit floats, rounded: half the size
    F16,
}

impl From<Dtype> for Floats {
    fn from(dtype: Dtype) -> Self {
        match dtype {
            Dtype::F32 => Self::F32,
            Dtype::F16 => Self::F16,
        }
    }
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments, global: &GlobalOptions) -> Result<(), Failure> {
    let Arguments { from, to, network, as_is, dtype, without_flow, overwrite } = arguments;
    // A wrong name of the output is found before much is read.
    Form::of(to)?;
    let checkpoint = network.open(&find(from, global)?)?;
    let network = match (as_is, network.stated()?) {
        (true, _) => Network::Any,
        (false, Some(config)) => Network::Stated(config),
        (false, None) => Network::Recognised,
    };
    let existing = if *overwrite { Existing::Replace } else { Existing::Keep };
    let stored = Stored { floats: (*dtype).into(), without_flow: *without_flow };
    let converted = convert(&checkpoint, to, network, stored, existing)?;
    if global.json {
        return Ok(output::json(&as_json(arguments, &converted))?);
    }
    Ok(output::result(&in_words(arguments, &converted))?)
}

fn as_json(arguments: &Arguments, converted: &Converted) -> serde_json::Value {
    let Converted { config, form, read, tensors, parameters } = converted;
    json!({
        "from": arguments.from,
        "to": arguments.to,
        "form": form,
        "network": config.as_ref().map(option_file::to_json),
        "tensors_read": read,
        "tensors_written": tensors,
        "parameters": parameters,
    })
}

fn in_words(arguments: &Arguments, converted: &Converted) -> String {
    let Converted { config, form, read, tensors, parameters } = converted;
    let what = match config {
        Some(config) => super::info::headline(config),
        None => "tensors as they are".to_owned(),
    };
    let constants = match (form, config) {
        (Form::Pth, Some(config)) => {
            format!(" and {} constants", config.buffers().len())
        }
        _ => String::new(),
    };
    format!(
        "{} -> {}: {what}; {read} tensors read, {tensors}{constants} written, {} parameters",
        arguments.from.display(),
        arguments.to.display(),
        grouped(*parameters),
    )
}
