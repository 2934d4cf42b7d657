import torch

from objbench.methods.parts.box_segmentation import BoxPlanes, box_segmentation
from objbench.methods.parts.canvas import Canvas
from objbench.methods.parts.resolution import Resolution
from objbench.methods.space.foreground import Objects


def test_planes_are_cropped_and_enlarged_and_boxes_are_fractions_of_the_image():
    resolution = Resolution((3, 12, 12), 6)  # images of 12x12, seen as 6x6 at the top left of a canvas of 8x8
    canvas = Canvas(resolution.size, 8)
    alpha = torch.zeros(1, 2, 1, 8, 8)
    alpha[0, 0, 0, :3, :3] = 1  # a quarter of the image
    alpha[0, 1, 0, 6:, 6:] = 1  # outside of it
    planes = BoxPlanes(
        masks=torch.cat([1 - alpha.sum(1, keepdim=True), alpha], 1),
        composited=torch.cat([1 - alpha.sum(1, keepdim=True), alpha], 1),
        components=torch.ones(1, 3, 3, 8, 8) * torch.tensor([0.0, 0.5, 1.0])[:, None, None, None],
        picture=torch.full((1, 1, 3, 8, 8), 0.25),
    )
    where = torch.tensor([[[0.375, 0.375, -0.625, -0.625], [0.25, 0.25, 0.75, 0.75]]])
    presence, depth = torch.tensor([[1.0, 0.2]]), torch.tensor([[[0.3], [0.4]]])
    shape = (1, 2, 1, 1, 1)
    objects = Objects(
        presence, where, depth, torch.tensor([[[7.0], [8.0]]]), torch.zeros(shape), torch.zeros(shape)
    )

    found = box_segmentation(planes, objects, canvas, resolution)

    expected = torch.zeros(12, 12)
    expected[:6, :6] = 1
    assert torch.equal(found.masks[0, 1], expected)
    assert torch.equal(found.masks[0, 0], 1 - expected)
    assert not found.masks[0, 2].any()
    assert torch.equal(found.alternatives["composited"], found.masks)
    assert found.partition is False
    assert found.components.shape == (1, 3, 3, 12, 12)
    assert found.components[0, 1].unique().tolist() == [0.5]
    assert torch.equal(found.reconstruction, torch.full((1, 3, 12, 12), 0.25))
    assert torch.equal(found.slots[0, 0], torch.zeros(7))
    assert torch.allclose(found.slots[0, 1], torch.tensor([7.0, 0.375, 0.375, -0.625, -0.625, 0.3, 1.0]))
    assert torch.allclose(found.extras["boxes"][0, 0], torch.tensor([0.0, 0.0, 0.5, 0.5]), atol=1e-6)
    assert torch.equal(found.extras["presence"], presence)
    assert torch.equal(found.extras["depth"], depth[..., 0])
