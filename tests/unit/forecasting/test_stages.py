import pytest
import torch

from msdiff.config_files import merged_config
from msdiff.diffusion.noise import add_noise, load_schedule
from msdiff.diffusion.objective import Objective, ObjectiveSettings
from msdiff.forecasting.stages import denoising_loss
from msdiff.settings import check

ROUNDING = 1e-6
PARTS = ("schedule", "weight")


def objective_of(stage_options, **changes):
    return Objective(check(ObjectiveSettings, stage_options("prior", **changes)["prior"]["objective"]))


def slab(batch=64):
    rng = torch.Generator().manual_seed(3)
    x = torch.randn(batch, 1, 2, 4, 4, generator=rng)
    lesions = torch.zeros_like(x)
    lesions[..., 0, 0] = 1
    return x, lesions


def test_the_right_prediction_costs_nothing(stage_options):
    x, lesions = slab()
    model = objective_of(stage_options)

    def perfect(z, logsnr):
        a, s = (torch.sigmoid(sign * logsnr).sqrt().reshape(-1, 1, 1, 1, 1) for sign in (1, -1))
        return a * (z - a * x) / s - s * x

    scalars = denoising_loss(model, perfect, x, lesions, torch.Generator().manual_seed(0))
    assert all(value < 1e-4 for value in scalars.values())


def test_lesions_count_as_often_as_they_should(stage_options):
    x, lesions = slab()
    unit = {"prior__objective__weight": {"backend": "unit", "options": {}}}
    seen = {}

    def says_zero(z, logsnr):
        seen["logsnr"] = logsnr
        return torch.zeros_like(z)

    for factor, scale in ((1.0, 1.0), (10.0, 100.0)):
        changes = {"prior__objective__lesion_factor": factor, "prior__objective__loss_scale": scale}
        model = objective_of(stage_options, **unit, **changes)
        said = denoising_loss(model, says_zero, x, lesions, torch.Generator().manual_seed(0))
        share = factor * 2 / (factor * 2 + 30)
        elsewhere = (32 * said["squared_error"] - 2 * said["lesion_squared_error"]) / 30
        expected = scale * (share * said["lesion_squared_error"] + (1 - share) * elsewhere)
        torch.testing.assert_close(said["loss"], expected)
    # One time in each of 64 equal parts.
    times = torch.linspace(0, 1, 1001, dtype=torch.float64)
    bounds = model.schedule(torch.linspace(0, 1, 65, dtype=torch.float64))
    assert bounds[-1] == model.schedule(times)[-1]
    found = seen["logsnr"].double().sort(descending=True).values
    assert ((found <= bounds[:-1] + ROUNDING) & (found >= bounds[1:] - ROUNDING)).all()


def test_an_estimate_is_the_clean_slab(stage_options):
    x, _ = slab(2)
    model, logsnr, eps = objective_of(stage_options), torch.tensor([2.0, -2.0]), torch.randn(2, 1, 2, 4, 4)
    z = add_noise(x, eps, logsnr)
    a, s = (torch.sigmoid(sign * logsnr).sqrt().reshape(-1, 1, 1, 1, 1) for sign in (1, -1))
    torch.testing.assert_close(model.answer(a * eps - s * x, z, logsnr).x_hat, x, rtol=1e-4, atol=1e-5)


@pytest.fixture(scope="module")
def objective():
    """The objective of config.yaml, with the options of all its parts."""
    config = merged_config(size="paper")
    return config["forecasting"]["prior"]["objective"]


def test_the_configured_schedule_ends_at_low_for_noise_unlike_the_published_code(objective):
    """Hoogeboom et al. 2023, section 3.1: t shift(low) + (1 - t) shift(high). The group's code has it back to front."""
    options = objective["schedule"]["interpolated_cosine"]
    assert objective["schedule"]["backend"] == "interpolated_cosine"
    limits = {name: options[name] for name in ("image_d", "logsnr_min", "logsnr_max")}
    low, high = (
        load_schedule("shifted_cosine", limits | {"noise_d": options[f"noise_d_{end}"]}) for end in ("low", "high")
    )
    t = torch.linspace(0, 1, 1001, dtype=torch.float64)
    logsnr = load_schedule("interpolated_cosine", options)(t)
    assert logsnr[-1] == low(t)[-1]
    assert logsnr[0] == high(t)[0]
    assert (logsnr.diff() < 0).all()
    backwards = (1 - t) * low(t) + t * high(t)
    # Everywhere between, the published direction has less noise late and more early.
    assert (logsnr[501:-1] < backwards[501:-1]).all()
    assert (logsnr[1:500] > backwards[1:500]).all()


def test_the_configured_weight_decays_as_the_noise_goes(objective):
    """Hang et al. 2023: min(SNR, 5) / (SNR + 1) on v. The published code's tends to 1/6 instead of 0."""
    assert (objective["prediction"], objective["weight"]["backend"]) == ("v", "min_snr")
    chosen = {
        part: {"backend": (name := objective[part]["backend"]), "options": objective[part][name]} for part in PARTS
    }
    logsnr = torch.linspace(2, 15, 100, dtype=torch.float64)
    weight = Objective(check(ObjectiveSettings, objective | chosen)).weight(logsnr)
    assert (weight.diff() < 0).all()
    torch.testing.assert_close(weight, 5 / (logsnr.exp() + 1))
    assert weight[-1] < 2e-6
