"""
Segments of a photograph
========================

Each pixel of a photograph is described by the texture around it: the colours of a window of 7×7
pixels, as eight principal components. Lossy coding merges small groups of pixels to segments.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.cluster import KMeans, MiniBatchKMeans
from sklearn.datasets import load_sample_image
from sklearn.decomposition import PCA

from redunet import LossyCodingClustering


def photograph(name, step=5):
    """A photograph at a fifth of its size."""
    image = load_sample_image(name)[:420] / 255
    height, width = image.shape[0] // step, image.shape[1] // step
    return image.reshape(height, step, width, step, 3).mean((1, 3))


def textures(image):
    """Eight principal components of the windows around all pixels."""
    padded = np.pad(image, ((3, 3), (3, 3), (0, 0)), mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (7, 7), (0, 1))
    return PCA(8, random_state=0).fit_transform(windows.reshape(-1, 147))


def small_groups(image):
    """250 groups of pixels that are close together and have similar colours."""
    places = np.indices(image.shape[:2]).reshape(2, -1).T / 100
    features = np.column_stack([places, image.reshape(-1, 3)])
    return MiniBatchKMeans(250, random_state=0).fit_predict(features)


def painted(image, labels):
    """The image with the mean colour of each segment."""
    pixels = image.reshape(-1, 3)
    means = np.stack([pixels[labels == label].mean(0) for label in range(labels.max() + 1)])
    return means[labels].reshape(image.shape)


# %%
# The squared error ε² is 3 % and 30 % of the variance of the textures. Each segment is encoded
# about its mean. The last row is k-means with the same number of segments as the coarser code.
# Look at which parts of the pictures become one segment.

figure, axes = plt.subplots(4, 2, figsize=(6.8, 9.6), layout="constrained")
for column, name in zip(axes.T, ("china.jpg", "flower.jpg"), strict=True):
    image = photograph(name)
    Z, groups = textures(image), small_groups(image)
    column[0].imshow(image)
    column[0].set_title("photograph")
    for ax, share in zip(column[1:3], (0.03, 0.3), strict=True):
        eps_sq = share * Z.var(0).sum()
        clustering = LossyCodingClustering(eps_sq, center=True, initial=groups).fit(Z)
        ax.imshow(painted(image, clustering.labels_))
        ax.set_title(f"ε² of {share:.0%}: {clustering.n_clusters_} segments")
    count = clustering.n_clusters_
    kmeans = KMeans(count, n_init=3, random_state=0).fit_predict(Z)
    column[3].imshow(painted(image, kmeans))
    column[3].set_title(f"k-means: {count} segments")
for ax in axes.flat:
    ax.axis("off")

# %%
# A segment may vary much in some directions, as the light in the background of the flower does. The
# coarser code keeps this background in one segment, and k-means cuts it in two. The finer code
# tells sky, water and roof apart, and the parts of the flower. In the first picture, two segments
# are sky and land for both methods. Borders are sharper with lossy coding only because the small
# groups follow the colours of single pixels.

plt.show()
