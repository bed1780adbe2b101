//! `[model.lora]`: a run that trains a low-rank adapter over a frozen model. What an adapter computes is `model`'s.

use model::{
    ALPHA_MAX, Adapter, AdapterScaling, AdapterSettings, Compute, ModelConfig, ModelDirectory, ModelPlace, Projection,
    RANK_MAX,
};
use serde::{Deserialize, Serialize};

use crate::{
    RlError,
    config::ModelSettings,
    random::{Purpose, Stream},
};

/// `[model.lora]`: train a low-rank adapter (LoRA, arXiv 2106.09685) in place of the model's own weights.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LoraSettings {
    /// Rank of the change of each weight matrix.
    pub rank: usize,
    /// The change is scaled by alpha/rank.
    pub alpha: f64,
    /// The projections of every layer that are adapted.
    pub targets: Vec<Projection>,
}

impl Default for LoraSettings {
    fn default() -> Self {
        Self { rank: 16, alpha: 32.0, targets: Projection::ALL.to_vec() }
    }
}

impl LoraSettings {
    /// Checks every range.
    ///
    /// # Errors
    /// [`RlError::Setting`] naming the first setting that is out of range.
    pub fn check(&self) -> Result<(), RlError> {
        let refused = |field, message| Err(RlError::Setting { field, message });
        if !(1..=RANK_MAX).contains(&self.rank) {
            return refused("model.lora.rank", format!("is {}; it must be between 1 and {RANK_MAX}", self.rank));
        }
        if !(self.alpha > 0.0 && self.alpha <= ALPHA_MAX) {
            let message = format!("is {}; it must be above 0 and at most {ALPHA_MAX}", self.alpha);
            return refused("model.lora.alpha", message);
        }
        let known = || Projection::ALL.map(Projection::name).join(", ");
        if self.targets.is_empty() {
            return refused("model.lora.targets", format!("is empty; name some of {}", known()));
        }
        let twice = self.targets.iter().enumerate().find(|(index, target)| self.targets[..*index].contains(target));
        match twice {
            Some((_, target)) => refused("model.lora.targets", format!("names {} twice; name it once", target.name())),
            None => Ok(()),
        }
    }

    fn adapter(&self) -> AdapterSettings {
        let mut targets = self.targets.clone();
        targets.sort_unstable();
        AdapterSettings { rank: self.rank, alpha: self.alpha, scaling: AdapterScaling::Rank, targets }
    }
}

/// Which projections a run adapts that starts from the model at `place`, and how; none where it trains every weight.
///
/// # Errors
/// [`RlError`] when an adapter is asked for over another one, or when that one's `adapter_config.json` cannot be used.
pub fn adapter_settings(settings: &ModelSettings, place: &ModelPlace) -> Result<Option<AdapterSettings>, RlError> {
    let read = place.adapter_settings()?;
    match (&settings.lora, read) {
        (Some(_), Some(_)) => {
            let message =
                "is set, and `model.path` is an adapter, which is trained as it is; leave out [model.lora], or \
                           start from what `brevity merge` makes of the adapter"
                    .to_owned();
            Err(RlError::Setting { field: "model.lora", message })
        }
        (Some(lora), None) => Ok(Some(lora.adapter())),
        (None, read) => Ok(read),
    }
}

/// The model that a run of `seed` starts from.
///
/// # Errors
/// [`RlError`] as [`adapter_settings`], and when a file of the model is not as it must be.
pub fn open(
    settings: &ModelSettings,
    seed: u64,
    place: &ModelPlace,
    compute: Compute,
) -> Result<ModelDirectory, RlError> {
    if adapter_settings(settings, place)?.is_none() {
        return Ok(ModelDirectory::open(&place.base, compute)?);
    }
    let mut source = ModelDirectory::open_frozen(&place.base, compute)?;
    if let Some(adapter) = start(settings, seed, place, (source.model.config(), compute))? {
        source.model = source.model.with_adapter(adapter);
    }
    if let Some(adapter) = &place.adapter {
        source.take_words(adapter)?;
    }
    Ok(source)
}

/// The adapter that a run of `seed` starts with: that at `place`, or a new one; none where it trains every weight.
///
/// A new one has B = 0, and A uniform within ±1/√inputs, which is what PEFT draws (Kaiming's with a = √5).
///
/// # Errors
/// As [`open`].
pub(crate) fn start(
    settings: &ModelSettings,
    seed: u64,
    place: &ModelPlace,
    (config, compute): (&ModelConfig, Compute),
) -> Result<Option<Adapter>, RlError> {
    if let Some(directory) = &place.adapter {
        return Ok(Some(Adapter::read(directory, (config, compute))?));
    }
    let Some(lora) = adapter_settings(settings, place)? else { return Ok(None) };
    let mut index = 0;
    let adapter = Adapter::new(lora, settings.path.clone(), (config, compute), |shape| {
        let mut stream = Stream::new(seed, Purpose::Adapter, [index, 0, 0]);
        index += 1;
        // A and B take turns.
        if index % 2 == 0 {
            return Ok(vec![0.0; shape.count()]);
        }
        let bound = 1.0 / (shape.shape[1] as f64).sqrt();
        let value = || (bound * (2.0 * stream.uniform() - 1.0)) as f32;
        Ok::<_, RlError>(std::iter::repeat_with(value).take(shape.count()).collect())
    })?;
    Ok(Some(adapter))
}
