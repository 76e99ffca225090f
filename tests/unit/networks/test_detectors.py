from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from msdiff.errors import BadInput, BadSettings
from msdiff.networks.detectors import DETECTORS, build, load_detector
from msdiff.networks.weights import save_weights

UNET: dict[str, Any] = {"widths": [16, 32, 64, 128], "convolutions": [2, 2, 3, 3], "dropout": 0.2}
BIT: dict[str, Any] = {
    "stem_channels": 64,
    "stem_stride": 2,
    "widths": [64, 128, 256],
    "depths": [3, 4, 6],
    "channels": 32,
    "tokens": 4,
    "encoder_layers": 1,
    "decoder_layers": 8,
    "heads": 8,
    "head_channels": 64,
    "mlp_channels": 64,
    "pretrained": None,
}
SMALL_BIT = {**BIT, "stem_channels": 8, "widths": [4, 8, 8], "depths": [2, 1, 2], "decoder_layers": 2, "heads": 2}
SMALL = {"unet": {"widths": [8, 8], "convolutions": [1, 2], "dropout": 0.05}, "bit_resnet50": SMALL_BIT}


def images(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).tanh()


def test_every_detector_is_tried_here():
    assert set(SMALL) == set(DETECTORS)


@pytest.mark.parametrize("name", SMALL)
class TestEveryDetector:
    @pytest.mark.parametrize(("batch", "height", "width"), [(2, 32, 32), (1, 32, 32), (1, 31, 45)])
    def test_gives_a_logit_per_pixel_at_any_size(self, name, batch, height, width):
        network = build(name, SMALL[name]).eval()
        logits = network(images(batch, 1, height, width), images(batch, 1, height, width, seed=1))
        assert logits.shape == (batch, 1, height, width)
        assert torch.isfinite(logits).all()

    def test_evaluation_repeats_and_treats_samples_alone(self, name):
        network = build(name, SMALL[name]).eval()
        before, after = images(3, 1, 32, 32), images(3, 1, 32, 32, seed=1)
        with torch.no_grad():
            together = network(before, after)
            assert torch.equal(network(before, after), together)
            alone = torch.cat([network(before[i : i + 1], after[i : i + 1]) for i in range(3)])
        torch.testing.assert_close(alone, together, rtol=1e-4, atol=1e-5)

    def test_learns_where_something_appeared(self, name):
        torch.manual_seed(0)
        network = build(name, SMALL[name])
        before = images(4, 1, 32, 32) * 0.1
        mask = torch.zeros(4, 1, 32, 32)
        for row in range(4):
            mask[row, :, 6 * row : 6 * row + 8, 8:20] = 1
        after = before + mask
        optimiser = torch.optim.AdamW(network.parameters(), lr=1e-2)
        for _ in range(40):
            optimiser.zero_grad()
            loss = torch.nn.functional.binary_cross_entropy_with_logits(network(before, after), mask)
            loss.backward()
            optimiser.step()
        found = network.eval()(before, after) > 0
        overlap = 2 * (found * mask).sum() / (found.sum() + mask.sum())
        assert overlap > 0.7

    def test_every_weight_learns(self, name):
        network = build(name, {**SMALL[name], **({"dropout": 0.0} if name == "unet" else {})})
        network(images(2, 1, 32, 32), images(2, 1, 32, 32, seed=1)).square().sum().backward()
        assert [key for key, value in network.named_parameters() if value.grad is None] == []

    def test_unknown_option_is_refused(self, name):
        with pytest.raises(BadSettings, match=f"network {name}: unknown key 'depth'"):
            build(name, {**SMALL[name], "depth": 3})


def test_unknown_detector_is_refused():
    with pytest.raises(BadSettings, match="expected one of unet, bit_resnet50, got 'vit'"):
        build("vit", {})


def parameters(network: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def test_unet_of_paper_size_has_the_parameters_of_fc_ef():
    # 1.35 M in Daudt et al. 2018, table I.
    assert parameters(build("unet", UNET)) == 1_352_081


def test_backbone_of_paper_size_is_that_of_resnet_50():
    with torch.device("meta"):
        network = build("bit_resnet50", BIT)
    # torchvision's ResNet-50 up to its third residual stage has 8,543,296; a grey first kernel saves 2 x 64 x 49.
    assert parameters(network.backbone) == 8_543_296 - 2 * 64 * 49


def test_siamese_transformer_is_blind_to_the_order_of_the_dates_where_they_agree():
    network = build("bit_resnet50", SMALL_BIT).eval()
    image = images(1, 1, 32, 32)
    network.position.data[:, :4] = network.position.data[:, 4:]
    with torch.no_grad():
        forward = network(image, image)
        difference_of_nothing = network.head(torch.zeros(1, 32, 32, 32))
    torch.testing.assert_close(forward, difference_of_nothing, rtol=1e-4, atol=1e-5)


def test_siamese_transformer_of_paper_size_has_these_parameters():
    with torch.device("meta"):
        network = build("bit_resnet50", BIT)
    layer = 2 * 64 + 3 * 32 * 512 + (512 * 32 + 32) + (32 * 64 + 64) + (64 * 32 + 32)
    head = 9 * 32 * 32 + 64 + (9 * 32 + 1)
    # Pointwise to 32 channels, four maps of tokens, their positions on both dates.
    around = (1024 * 32 + 32) + 4 * 32 + 8 * 32
    assert parameters(network) == parameters(network.backbone) + around + (1 + 8) * layer + head == 9_208_769


@pytest.mark.parametrize(("stride", "shape"), [(2, (2, 32, 16, 8)), (1, (2, 32, 32, 16))])
def test_features_are_a_quarter_or_half_of_the_side(stride, shape):
    network = build("bit_resnet50", {**SMALL_BIT, "stem_stride": stride})
    assert network.features(images(2, 1, 64, 32)).shape == shape
    assert network(images(2, 1, 60, 33), images(2, 1, 60, 33)).shape == (2, 1, 60, 33)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("unet", {"convolutions": [2]}, "convolutions needs one value per level, 2, got 1"),
        ("unet", {"dropout": 1.0}, "dropout"),
        ("bit_resnet50", {"depths": [1]}, "depths needs one value per stage, 3, got 1"),
        ("bit_resnet50", {"tokens": 0}, "tokens"),
        ("bit_resnet50", {"stem_stride": 3}, "stem_stride"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(name, change, message):
    with pytest.raises(BadSettings, match=message):
        build(name, {**SMALL[name], **change})


class TestPretrained:
    def weights(self, network, path, **changes):
        """A file in torchvision's layout: three colours, a classifier."""
        tensors = {
            name: torch.randn_like(value.float()).to(value.dtype)
            for name, value in network.backbone.state_dict().items()
        }
        tensors["conv1.weight"] = torch.randn(8, 3, 7, 7)
        tensors["fc.bias"] = torch.zeros(1000)
        tensors = {name: value for name, value in {**tensors, **changes}.items() if value is not None}
        save_file(tensors, path)
        return tensors

    def options(self, path):
        return {**SMALL_BIT, "pretrained": str(path)}

    def test_fill_the_backbone_of_a_fresh_network(self, tmp_path):
        path = tmp_path / "resnet.safetensors"
        given = self.weights(build("bit_resnet50", SMALL_BIT), path)
        state = build("bit_resnet50", self.options(path), fresh=True).backbone.state_dict()
        torch.testing.assert_close(state["conv1.weight"], given["conv1.weight"].sum(1, keepdim=True))
        assert all(torch.equal(state[name], given[name]) for name in state if name != "conv1.weight")

    def test_are_not_asked_for_where_weights_will_be_loaded(self, tmp_path):
        build("bit_resnet50", self.options(tmp_path / "gone.safetensors"))

    def test_missing_file_is_told(self, tmp_path):
        with pytest.raises(BadInput, match="no such pretrained weights"):
            build("bit_resnet50", self.options(tmp_path / "gone.safetensors"), fresh=True)

    def test_file_that_is_not_weights_is_told(self, tmp_path):
        path = tmp_path / "resnet.safetensors"
        path.write_text("no")
        with pytest.raises(BadInput, match="safetensors format"):
            build("bit_resnet50", self.options(path), fresh=True)

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"layer3.1.bn2.weight": None}, "expected the weight layer3.1.bn2.weight"),
            ({"layer1.0.bn1.bias": torch.zeros(64)}, r"expected layer1.0.bn1.bias of shape \(4,\), got \(64,\)"),
        ],
    )
    def test_weights_of_another_network_are_told(self, tmp_path, changes, message):
        path = tmp_path / "resnet.safetensors"
        self.weights(build("bit_resnet50", SMALL_BIT), path, **changes)
        with pytest.raises(BadInput, match=message):
            build("bit_resnet50", self.options(path), fresh=True)


def test_weights_of_something_else_are_refused(tmp_path):
    save_weights({"weight": torch.zeros(1)}, {"kind": "generator"}, tmp_path / "weights.safetensors")
    with pytest.raises(BadInput, match="expected a detector"):
        load_detector(tmp_path / "weights.safetensors")
