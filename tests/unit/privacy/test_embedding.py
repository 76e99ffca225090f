import numpy as np
import pytest
import torch

from msdiff.errors import BadInput
from msdiff.networks.slice_encoder import SliceEncoder, SliceEncoderSettings
from msdiff.networks.weights import save_weights
from msdiff.privacy import embedding as module
from msdiff.privacy.embedding import CopyTask, Embedding, EmbeddingSettings, VariantSettings, train_embedding
from msdiff.privacy.slices import as_images, real_slices

NONE = {
    "outline": 0.0,
    "rotation_degrees": 0.0,
    "shift": 0.0,
    "scale": 0.0,
    "flip": 0.0,
    "blur": 0.0,
    "noise": 0.0,
    "power": 0.0,
}


@pytest.fixture
def images():
    images = torch.from_numpy(np.random.default_rng(0).normal(size=(5, 1, 16, 16)).astype(np.float32))
    return images / images.pow(2).mean((1, 2, 3), keepdim=True).sqrt()


def variants(images, settings):
    """Variants of images without an outside, near a brain that lacks the upper half."""
    inside = torch.ones_like(images)
    outlines = inside.clone()
    outlines[:, :, :8] = 0
    return module.variants(images, inside, outlines, VariantSettings(**settings), np.random.default_rng(0))


def test_without_variation_a_variant_is_the_slice(images):
    torch.testing.assert_close(variants(images, NONE), images)


@pytest.mark.parametrize("kind", NONE)
def test_each_variation_does_something_and_keeps_the_mean_square(images, kind):
    varied = variants(images, NONE | {kind: 1.0})
    assert (varied - images).abs().mean() > 0.01
    torch.testing.assert_close(varied.pow(2).mean((1, 2, 3)), torch.ones(5))


def test_a_flip_mirrors_left_and_right(images):
    flipped = variants(images, NONE | {"flip": 1.0})
    torch.testing.assert_close(flipped, images.flip(-1))


def test_in_another_outline_it_is_dark_where_it_had_no_brain(images):
    inside, outlines = torch.ones_like(images), torch.ones_like(images)
    inside[..., :4], outlines[..., 12:] = 0, 0
    cut = module.in_outline(images * inside, inside, outlines)
    assert not cut[..., 12:].any()
    torch.testing.assert_close(cut.sum((1, 2, 3)), torch.zeros(5), atol=1e-3, rtol=0)
    dark = (images * inside).amin((2, 3), keepdim=True).expand(-1, -1, 16, 4)
    shifted = cut[..., :12] - torch.cat([dark, images[..., 4:12]], dim=-1)
    torch.testing.assert_close(shifted, shifted[..., :1, :1].expand_as(shifted))


def test_the_loss_is_least_where_twins_alone_are_alike(stack, embedding_settings):
    task = CopyTask(stack, embedding_settings)
    task.modules = torch.nn.Identity()
    twins = torch.eye(8).repeat(2, 1)
    found = task.loss({"slices": twins}, torch.Generator())
    assert found["found"] == 1
    # Of 15 others the twin has cosine 1, the rest 0.
    assert found["loss"] == pytest.approx(float(np.log(1 + 14 * np.exp(-1 / 0.1))), abs=1e-5)
    assert task.loss({"slices": torch.eye(16)}, torch.Generator())["loss"] == pytest.approx(np.log(15), abs=1e-5)


def test_a_batch_holds_neighbouring_levels_of_several_patients(stack, embedding_settings):
    task = CopyTask(stack, embedding_settings)
    batch = task.batch(np.arange(6), np.random.default_rng(0))["slices"]
    assert batch.shape == (12, 1, 16, 16)
    # Listed by level: the first items are one level of all training patients.
    rows = stack.slices[(stack.slices["split"] == "train") & (stack.slices["slice"] == 0)]
    expected = real_slices(stack, rows, "follow_up_row", embedding_settings.slices)
    torch.testing.assert_close(task.images[: len(rows)], as_images(expected.pixels))


def test_vectors_have_length_one_whatever_stands_beside(stack, embedding, embedding_settings):
    slices = real_slices(stack, stack.slices.head(20), "follow_up_row", embedding_settings.slices)
    embedded = embedding(slices)
    np.testing.assert_allclose(np.linalg.norm(embedded, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(embedding(slices.at(slice(3, 4))), embedded[3:4], atol=1e-5)


def test_patients_and_settings_are_in_the_weights(embedding_path):
    from msdiff.networks.weights import read_description

    description = read_description(embedding_path)
    assert description["patients"] == [f"sub-{k:04d}" for k in range(1, 25)]
    assert description["settings"]["slices"] == {"contrast": "flair", "side": 16, "minimum_overlap": 0.5}


def test_a_changed_set_of_other_patients_trains_nothing_anew(tmp_path, stack, embedding_settings):
    short = embedding_settings.model_copy(
        update={"training": embedding_settings.training.model_copy(update={"steps": 2, "warm_up_steps": 0})}
    )

    def checkpoints(**moved):
        slices = stack.slices.assign(split=stack.slices["split"].replace(moved))
        options = {"checkpoints": tmp_path, "minutes": None, "device": torch.device("cpu")}
        train_embedding(stack._replace(slices=slices), short, **options)
        return len(list(tmp_path.iterdir()))

    assert [checkpoints(), checkpoints(test="validation"), checkpoints(validation="train")] == [1, 1, 2]


def test_other_weights_and_a_lonely_patient_are_bad_input(tmp_path, stack, embedding_settings):
    save_weights({"a": torch.zeros(1)}, {"kind": "detector"}, tmp_path / "weights.safetensors")
    with pytest.raises(BadInput, match="train-embedding wrote"):
        Embedding(tmp_path / "weights.safetensors", torch.device("cpu"))
    alone = stack._replace(slices=stack.slices[stack.slices["subject"] == "sub-0001"])
    with pytest.raises(BadInput, match="two training patients"):
        train_embedding(alone, embedding_settings, checkpoints=tmp_path, minutes=None, device=torch.device("cpu"))


@pytest.mark.parametrize("side", [16, 30, 64])
def test_the_encoder_takes_slices_of_any_side(side):
    network = SliceEncoder(SliceEncoderSettings(patch=4, widths=(8, 16, 16), norm_groups=4, numbers=5), side)
    assert network(torch.randn(2, 1, side, side)).shape == (2, 5)


def test_settings_without_defaults(embedding_settings):
    assert all(field.is_required() for field in EmbeddingSettings.model_fields.values())
