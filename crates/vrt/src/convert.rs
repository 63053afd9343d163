//! Weights from one form into the other, every tensor accounted for.

use std::path::{Path, PathBuf};

use serde::Serialize;
use vrt_model::checkpoint::{Checkpoint, CheckpointError, Existing, Stored, StoredTensor};
use vrt_model::config::VrtConfig;
use vrt_model::recognise::RecogniseError;

/// A form of weights on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Form {
    /// PyTorch's, in the published arrangement: `{"params": {name: tensor}}`.
    Pth,
    /// Tensors behind an index, and the configuration as text.
    Safetensors,
}

impl Form {
    /// The form that the extension of `path` names: `.pth`, `.pt`, `.safetensors`.
    ///
    /// # Errors
    ///
    /// If it names another or none.
    pub fn of(path: &Path) -> Result<Self, ConvertError> {
        let extension = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
        match extension.as_str() {
            "pth" | "pt" => Ok(Self::Pth),
            "safetensors" => Ok(Self::Safetensors),
            _ => Err(ConvertError::Form { path: path.to_path_buf() }),
        }
    }
}

/// What weights are converted as.
#[derive(Clone, Debug, PartialEq)]
pub enum Network {
    /// The network that names and shapes tell.
    Recognised,
    /// This one.
    Stated(VrtConfig),
    /// Whatever they are: tensors are copied under their names, floats as 32-bit ones.
    Any,
}

/// What was converted.
#[derive(Clone, Debug, PartialEq)]
pub struct Converted {
    /// The network; `None` if tensors were copied as they are.
    pub config: Option<VrtConfig>,
    /// The form that was written.
    pub form: Form,
    /// Tensors read, constants of published checkpoints among them.
    pub read: usize,
    /// Learnt tensors written.
    pub tensors: usize,
    /// Values in them.
    pub parameters: u64,
}

/// Why weights were not converted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConvertError {
    /// The name of the output does not tell its form.
    #[error("{path:?}: weights are written as .safetensors or .pth; give the file one of these")]
    Form {
        /// The output.
        path: PathBuf,
    },
    /// Something else than all values in 32 bits was asked for where only that is written.
    #[error(
        "{}: 16-bit values, and networks without flow, are written to .safetensors files of a \
         network only, neither to .pth files nor with --as-is",
        path.display()
    )]
    Partly {
        /// The output.
        path: PathBuf,
    },
    /// Reading, accounting for or writing the tensors failed.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The network is not known.
    #[error(
        "{}: {source}; state the network with an option file or a preset, or copy the tensors \
         under their names (--as-is). These are in the file:{}", path.display(), list(.tensors)
    )]
    Unknown {
        /// The input.
        path: PathBuf,
        /// Why it is not.
        source: RecogniseError,
        /// Every tensor's name and shape.
        tensors: Vec<(String, Vec<usize>)>,
    },
}

fn list(tensors: &[(String, Vec<usize>)]) -> String {
    tensors.iter().map(|(name, shape)| format!("\n  {name} {shape:?}")).collect()
}

/// Writes the weights of `checkpoint` to `to`, in the form that its extension names, with what
/// and how `stored` says. Names are the published ones, and a `.pth` holds the constants that strict
/// loading asks for.
///
/// # Errors
///
/// If the network is unknown, tensors are missing, unknown or of another shape (all of them are
/// listed), or a file cannot be read or written. `to` appears only when it is whole.
pub fn convert(
    checkpoint: &Checkpoint,
    to: &Path,
    network: Network,
    stored: Stored,
    existing: Existing,
) -> Result<Converted, ConvertError> {
    let form = Form::of(to)?;
    if stored != Stored::default() && (form == Form::Pth || network == Network::Any) {
        return Err(ConvertError::Partly { path: to.to_path_buf() });
    }
    let read = checkpoint.tensors().len();
    let config = match network {
        Network::Any => None,
        Network::Stated(config) => Some(config),
        Network::Recognised => Some(checkpoint.config().map_err(|source| {
            let tensors = checkpoint.shapes().into_iter().collect();
            ConvertError::Unknown { path: checkpoint.path().to_path_buf(), source, tensors }
        })?),
    };
    let Some(config) = config else {
        match form {
            Form::Pth => checkpoint.write_plain_pth(to, existing)?,
            Form::Safetensors => checkpoint.write_plain_safetensors(to, existing)?,
        }
        let values = checkpoint.tensors().values().filter_map(StoredTensor::values);
        let parameters = values.map(|values| values as u64).sum();
        return Ok(Converted { config: None, form, read, tensors: read, parameters });
    };
    match form {
        Form::Pth => checkpoint.write_pth(to, &config, existing)?,
        Form::Safetensors => checkpoint.write_safetensors_as(to, &config, stored, existing)?,
    }
    let specs = stored.tensors(&config);
    let parameters = specs.iter().map(|spec| spec.len() as u64).sum();
    Ok(Converted { config: Some(config), form, read, tensors: specs.len(), parameters })
}

#[cfg(test)]
mod tests {
    use vrt_model::checkpoint::Floats;

    use super::*;

    #[test]
    fn the_form_follows_the_extension() {
        let forms =
            ["a.pth", "b.PT", "c.d/e.safetensors"].map(|name| Form::of(Path::new(name)).ok());
        assert_eq!(forms, [Some(Form::Pth), Some(Form::Pth), Some(Form::Safetensors)]);
        for name in ["weights", "weights.bin", ".pth", ""] {
            let error = Form::of(Path::new(name)).unwrap_err();
            assert!(error.to_string().contains(".safetensors"), "{error}");
        }
    }

    #[test]
    fn sixteen_bits_are_for_safetensors_of_a_network() {
        let checkpoint = Checkpoint::from_values([("one".to_owned(), vec![1], vec![0.5])]);
        for (to, network) in [("a.pth", Network::Recognised), ("a.safetensors", Network::Any)] {
            let to = Path::new("/no/such/folder").join(to);
            let error = convert(&checkpoint, &to, network, Floats::F16.into(), Existing::Keep);
            assert!(matches!(error, Err(ConvertError::Partly { .. })), "{error:?}");
        }
    }

    #[test]
    fn unknown_weights_are_listed_in_full() {
        let names = ["one", "two", "three", "four", "five"];
        let checkpoint =
            Checkpoint::from_values(names.map(|name| (name.to_owned(), vec![2, 3], vec![0.5; 6])));
        let to = Path::new("/no/such/folder/out.safetensors");
        let error =
            convert(&checkpoint, to, Network::Recognised, Stored::default(), Existing::Keep)
                .unwrap_err();
        let text = error.to_string();
        assert!(text.contains("--as-is"), "{text}");
        assert!(names.iter().all(|name| text.contains(&format!("\n  {name} [2, 3]"))), "{text}");
    }
}
