//! Where a model computes: on the processor, or on a card. Everything of a [`Model`] that computes asks here.

use std::{
    borrow::Cow,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

use kernels::{
    adamw,
    cuda::machine::Machine,
    logprob::TokenLogprob,
    sample::{Drawn, Sampling},
};

use crate::{
    Adapter, Batch, Chunk, Model, Parameter, ParameterShape, SamplerWorkspace, Tensors, TrainerWorkspace,
    cache::Held,
    card::{self, CardChunk, CardModel, CardPages, CardSampler, CardTrainer},
    network::Trained,
};

/// A model on a card, with the pages of its caches.
#[derive(Debug)]
pub(crate) struct OnCard {
    pub(crate) model: CardModel,
    /// Made when the first cache is wanted: a reference has none, and a model that replaces another one finds room.
    pages: OnceLock<Mutex<CardPages>>,
    page_count: usize,
}

impl OnCard {
    fn new(model: CardModel, page_count: usize) -> Self {
        Self { model, pages: OnceLock::new(), page_count }
    }

    /// A copy on the same card, with as many pages.
    pub(crate) fn copy(&self) -> Self {
        Self::new(self.model.copy(), self.page_count)
    }

    /// The same base on the same card with `adapter` over it, or with none; its pages are new ones.
    pub(crate) fn with_adapter(&self, adapter: Option<&Adapter>) -> Self {
        Self::new(self.model.with_adapter(adapter), self.page_count)
    }

    /// The place of a model that is to come, with as many pages.
    pub(crate) fn released(&self) -> Self {
        Self::new(self.model.released(), self.page_count)
    }

    fn pages(&self) -> MutexGuard<'_, CardPages> {
        let pages = self.pages.get_or_init(|| Mutex::new(CardPages::new(&self.model, self.page_count)));
        pages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An empty cache.
    pub(crate) fn cache(&self) -> card::CardCache {
        self.pages().cache()
    }
}

impl Model {
    /// This model on a card, whose caches hold up to `cache_bytes` of keys and values; its weights leave the processor.
    ///
    /// # Errors
    /// Why a card can't compute it.
    ///
    /// # Panics
    /// Where the card refuses: see [`card`].
    pub fn on_card(mut self, machine: &Arc<dyn Machine>, cache_bytes: usize) -> Result<Self, String> {
        if let Some(fault) = card::fault_of(&self.config, self.adapter().map(Adapter::settings)) {
            return Err(fault);
        }
        let pages = cache_bytes / CardPages::page_bytes(&self.config);
        self.card = Some(Arc::new(OnCard::new(CardModel::new(&self, Arc::clone(machine)), pages)));
        let base = Arc::make_mut(&mut self.base);
        for (parameter, packed) in base.parameters.iter_mut().zip(&mut base.packed) {
            parameter.values = Vec::new();
            *packed = kernels::matmul::PackedMatrix::empty(self.compute);
        }
        if let Trained::Adapter(adapter) = &mut self.trained {
            adapter.leave();
        }
        Ok(self)
    }

    /// This model where `other` is.
    ///
    /// # Errors
    /// As [`Model::on_card`].
    pub fn beside(self, other: &Self) -> Result<Self, String> {
        match &other.card {
            None => Ok(self),
            Some(card) => self.on_card(card.model.machine(), card.page_count * CardPages::page_bytes(&other.config)),
        }
    }

    /// Every trainable tensor with its values, from wherever the model is, in checkpoint order.
    pub fn fetched(&self) -> Cow<'_, [Parameter]> {
        let Some(card) = &self.card else { return Cow::Borrowed(self.parameters()) };
        let fetched = |(index, parameter): (usize, &Parameter)| Parameter {
            values: card.model.values(index),
            ..parameter.clone()
        };
        Cow::Owned(self.parameters().iter().enumerate().map(fetched).collect())
    }

    /// Zeros for every trainable value, where the model is.
    pub fn zeros(&self) -> Tensors {
        match &self.card {
            None => {
                let zeros = |parameter: &Parameter| kernels::memory::zeros(parameter.values.len());
                Tensors { tensors: self.parameters().iter().map(zeros).collect(), card: None }
            }
            Some(card) => Tensors { tensors: Vec::new(), card: Some(card.model.zeros()) },
        }
    }

    /// These numbers for every trainable value, where the model is.
    ///
    /// # Panics
    /// When they are not as many.
    pub fn tensors(&self, values: Vec<Vec<f32>>) -> Tensors {
        let counts = self.parameters().iter().map(|parameter| parameter.shape.iter().product::<usize>());
        assert!(counts.eq(values.iter().map(Vec::len)), "a number for every trainable value");
        let Some(card) = &self.card else { return Tensors { tensors: values, card: None } };
        let mut tensors = card.model.zeros();
        tensors.set(&values);
        Tensors { tensors: Vec::new(), card: Some(tensors) }
    }

    /// One AdamW update of every trainable tensor; `step` gives the settings for one of this shape.
    pub fn adamw(
        &mut self,
        gradients: &Tensors,
        [first, second]: [&mut Tensors; 2],
        step: impl Fn(&[usize]) -> adamw::Step,
    ) {
        let Some(card) = &mut self.card else {
            return self.update(|index, parameter| {
                let step = step(&parameter.shape);
                let tensor = adamw::Tensor {
                    values: &mut parameter.values,
                    gradient: &gradients.tensors[index],
                    first_moment: &mut first.tensors[index],
                    second_moment: &mut second.tensors[index],
                };
                adamw::update(tensor, &step);
            });
        };
        if Arc::get_mut(card).is_none() {
            *card = Arc::new(card.copy());
        }
        let card = Arc::get_mut(card).expect("it is this one's own");
        let gradients = gradients.card.as_ref().expect("gradients of the model, which is on a card");
        let moments = [first, second].map(|tensors| tensors.card.as_mut().expect("moments of the model on a card"));
        card.model.update(gradients, moments, |shape: &ParameterShape| step(&shape.shape));
    }

    /// Bytes that the keys and values of a stretch of so many positions take.
    pub fn cache_bytes(&self, positions: usize) -> usize {
        match &self.card {
            None => crate::Cache::bytes(&self.config, self.compute, positions),
            Some(_) => CardPages::bytes(&self.config, positions),
        }
    }

    /// Bytes of all caches together, at most; none where only the memory bounds them.
    pub fn cache_bytes_max(&self) -> Option<usize> {
        self.card.as_ref().map(|card| card.page_count * CardPages::page_bytes(&self.config))
    }
}

impl OnCard {
    /// [`Model::forward`].
    pub(crate) fn forward(&self, batch: &Batch, workspace: &mut TrainerWorkspace) -> Vec<TokenLogprob> {
        let recomputed = workspace.recomputed;
        let trainer = workspace.card.get_or_insert_with(|| CardTrainer::new(&self.model, recomputed));
        self.model.forward(batch, trainer)
    }

    /// [`Model::backward`].
    pub(crate) fn backward(
        &self,
        batch: &Batch,
        logprob_gradients: &[f32],
        workspace: &mut TrainerWorkspace,
        gradients: &mut Tensors,
    ) {
        let trainer = workspace.card.as_mut().expect("the forward came first");
        let gradients = gradients.card.as_mut().expect("gradients of the model, which is on a card");
        self.model.backward(batch, logprob_gradients, trainer, gradients);
    }

    /// [`Model::advance`].
    pub(crate) fn advance(&self, chunks: &mut [Chunk<'_>], workspace: &mut SamplerWorkspace) -> Vec<f32> {
        let sampler = workspace.card.get_or_insert_with(|| CardSampler::new(&self.model));
        self.model.advance(&mut on_card(chunks), &mut self.pages(), sampler)
    }

    /// [`Model::advance_and_draw`].
    pub(crate) fn advance_and_draw(
        &self,
        chunks: &mut [Chunk<'_>],
        draws: (&Sampling, &[f64]),
        workspace: &mut SamplerWorkspace,
    ) -> Vec<Drawn> {
        let sampler = workspace.card.get_or_insert_with(|| CardSampler::new(&self.model));
        self.model.advance_and_draw(&mut on_card(chunks), draws, &mut self.pages(), sampler)
    }

    /// [`Model::draw`].
    pub(crate) fn draw(
        &self,
        rows: &[f32],
        sampling: &Sampling,
        uniforms: &[f64],
        workspace: &mut SamplerWorkspace,
    ) -> Vec<Drawn> {
        let sampler = workspace.card.get_or_insert_with(|| CardSampler::new(&self.model));
        self.model.draw(rows, sampling, uniforms, sampler)
    }
}

/// Chunks whose caches are in pages of a card.
fn on_card<'a>(chunks: &'a mut [Chunk<'_>]) -> Vec<CardChunk<'a>> {
    let on_card = |chunk: &'a mut Chunk<'_>| CardChunk {
        tokens: chunk.tokens,
        shared: chunk.shared.map(|shared| shared.held.pages()),
        own: match &mut chunk.own.held {
            Held::Pages(own) => own,
            Held::Stretches(_) => panic!("a cache of a model on the processor"),
        },
    };
    chunks.iter_mut().map(on_card).collect()
}
