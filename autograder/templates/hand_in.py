import fridge

fridge.submit("{unit}")
