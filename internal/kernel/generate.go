package kernel

// The assembly is generated; _asm is a module of its own.

//go:generate sh -c "cd _asm && go run . -part tile -isa avx2 -out ../tile_avx2_amd64.s -stubs ../tile_avx2_amd64.go -pkg kernel"
//go:generate sh -c "cd _asm && go run . -part strip -isa avx2 -out ../strip_avx2_amd64.s -stubs ../strip_avx2_amd64.go -pkg kernel"
//go:generate sh -c "cd _asm && go run . -part narrow -isa avx2 -out ../narrow_avx2_amd64.s -stubs ../narrow_avx2_amd64.go -pkg kernel"
//go:generate sh -c "cd _asm && go run . -part vec -isa avx2 -out ../vec_avx2_amd64.s -stubs ../vec_avx2_amd64.go -pkg kernel"
//go:generate sh -c "cd _asm && go run . -part grad -isa avx2 -out ../grad_avx2_amd64.s -stubs ../grad_avx2_amd64.go -pkg kernel"
//go:generate sh -c "cd _asm && go run . -part winograd -isa avx2 -out ../winograd_avx2_amd64.s -stubs ../winograd_avx2_amd64.go -pkg kernel"
//go:generate sh -c "cd _asm && go run . -part maps -isa avx2 -out ../maps_avx2_amd64.s -stubs ../maps_avx2_amd64.go -pkg kernel"
//go:generate sh -c "cd _asm && go run . -part tile -isa avx512 -out ../tile_avx512_amd64.s -stubs ../tile_avx512_amd64.go -pkg kernel"
//go:generate sh -c "cd _asm && go run . -part strip -isa avx512 -out ../strip_avx512_amd64.s -stubs ../strip_avx512_amd64.go -pkg kernel"
//go:generate sh -c "cd _asm && go run . -part narrow -isa avx512 -out ../narrow_avx512_amd64.s -stubs ../narrow_avx512_amd64.go -pkg kernel"
//go:generate sh -c "cd _asm && go run . -part vec -isa avx512 -out ../vec_avx512_amd64.s -stubs ../vec_avx512_amd64.go -pkg kernel"
//go:generate sh -c "cd _asm && go run . -part grad -isa avx512 -out ../grad_avx512_amd64.s -stubs ../grad_avx512_amd64.go -pkg kernel"
//go:generate sh -c "cd _asm && go run . -part winograd -isa avx512 -out ../winograd_avx512_amd64.s -stubs ../winograd_avx512_amd64.go -pkg kernel"
//go:generate sh -c "cd _asm && go run . -part maps -isa avx512 -out ../maps_avx512_amd64.s -stubs ../maps_avx512_amd64.go -pkg kernel"
//go:generate sh -c "cd _asm && go run . -part eight -isa avx2 -out ../eight_avx2_amd64.s -stubs ../eight_avx2_amd64.go -pkg kernel"
//go:generate sh -c "cd _asm && go run . -part eight -isa vnni -out ../eight_vnni_amd64.s -stubs ../eight_vnni_amd64.go -pkg kernel"
//go:generate sh -c "cd _asm && go run ./neon -part tile -out ../tile_arm64.s -stubs ../tile_arm64.go"
//go:generate sh -c "cd _asm && go run ./neon -part narrow -out ../narrow_arm64.s -stubs ../narrow_arm64.go"
//go:generate sh -c "cd _asm && go run ./neon -part vec -out ../vec_arm64.s -stubs ../vec_arm64.go"
