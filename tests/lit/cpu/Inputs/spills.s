spilling:                               # @spilling
# %bb.0:
	vmovups	%zmm1, (%rsp)                   # 64-byte Spill
	tilestored	%tmm1, 64(%rsp,%rax)            # 1024-byte Folded Spill
.LBB0_1:                                # =>This Loop Header: Depth=1
                                        #     Child Loop BB0_2 Depth 2
	vmovups	%zmm2, 128(%rsp)                # 64-byte Spill
	vmovups	%zmm3, 128(%rsp)                # 64-byte Spill
	movq	%rdx, 192(%rsp)                 # 8-byte Spill
.LBB0_2:                                #   Parent Loop BB0_1 Depth=1
                                        # =>  This Inner Loop Header: Depth=2
	vmovups	(%rsp), %zmm1                   # 64-byte Reload
	jne	.LBB0_2
# %bb.3:                                #   in Loop: Header=BB0_1 Depth=1
	vmovups	128(%rsp), %zmm2                # 64-byte Reload
	jne	.LBB0_1
# %bb.4:
	vmovups	(%rsp), %zmm1                   # 64-byte Reload
	retq
